"""What an E.164 number says about itself. Not validation: the services check numbers when they accept a message."""

from functools import lru_cache


@lru_cache(maxsize=4096)
def country_scope(number: str) -> str:
    """The scope of a denial for this number's country: "country:NG"; "country:+881" where a calling code has no
    country; "" for none.
    """
    import phonenumbers  # its metadata is big and only a denial by country needs it

    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return ""
    region = phonenumbers.region_code_for_number(parsed) or phonenumbers.region_code_for_country_code(
        parsed.country_code or 0
    )
    return f"country:{region}" if region and region not in ("ZZ", "001") else f"country:+{parsed.country_code}"
