"""What any service stands on. It has never heard of a message, a provider or an email."""
