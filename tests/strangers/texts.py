"""The text messages that every maker's library and ours are given: alphabets, lengths, and what breaks naive forms."""

from collections.abc import Mapping

from services.adapters.base import SmsContent

NUMBER = "+14155550100"


def a_text(text: str = "Your code is 1234", **values: object) -> SmsContent:
    """A short text to a number in the United States."""
    given: dict[str, object] = {"to": NUMBER, "text": text}
    return SmsContent(**{**given, **values})  # type: ignore[arg-type]


TEXTS: Mapping[str, SmsContent] = {
    "a short text": a_text(),
    "the whole basic GSM-7 alphabet": a_text("@£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./09:;<=>?¡AZÄÖÑÜ§¿azäöñüà"),
    "GSM-7 with its extension": a_text("^{}\\[~]|€"),
    "one segment of GSM-7": a_text("x" * 160),
    "two segments of GSM-7": a_text("x" * 161),
    "ten segments of GSM-7": a_text("0123456789" * 153),
    "UCS-2, one segment": a_text("ж" * 70),
    "UCS-2, two segments": a_text("ж" * 71),
    "emoji outside the BMP": a_text("🚀👩🏽\u200d🚀 ready"),
    "Arabic, right to left": a_text("رمزك هو ١٢٣٤ \u200f(4)"),
    "Chinese": a_text("您的验证码是1234"),
    "what a form escapes": a_text("a+b & c=d %20 ; ? # / \\ \" ' <x>"),
    "line breaks and tabs": a_text("one\ntwo\r\nthree\tfour"),
    "blanks around it": a_text("  Your code  "),
    "a link": a_text("https://example.com/a?b=c&d=%C3%A9#f"),
    "letters with combining marks": a_text("Cafe\u0301 nai\u0308ve"),
    "typographic quotes": a_text("“It\u2019s here” \u2013 soon…"),
    "a number in Nigeria": a_text(to="+2348031234567"),
    "a number in India": a_text(to="+919812345678"),
    "the shortest number": a_text(to="+2904321"),
    "the longest number": a_text(to="+8811234567890"),
}
