"""What any provider is: values, templates and the adapters themselves. Knows nothing of messages, queues, gRPC or
databases.
"""
