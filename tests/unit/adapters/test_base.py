"""The values adapters take."""

from services.adapters.base import Call, SmsContent


def test_call_shows_no_settings_and_no_content() -> None:
    """Printing a call names the attempt and nothing else."""
    call = Call(
        message_id="m1",
        attempt=2,
        content=SmsContent(to="+14155550100", text="hello"),
        config={"authToken": "sekrit"},
        provider_id="p1",
        config_version=1,
        timeout=10,
        time_left=60,
    )
    assert repr(call) == f"{call}" == "Call(message_id='m1', attempt=2, provider_id='p1')"
