"""Bodies that are no JSON, or JSON that two readers would take in two ways."""

import json

from .wire import EITHER, FINE, GOOD, REFUSED, Case, posted

BODY = json.dumps(GOOD)


def json_syntax() -> list[Case]:
    cases = [posted(f"cut after {end}", BODY[:end].encode()) for end in range(0, len(BODY), 3)]
    texts = {
        "comma at the end": BODY[:-1] + ",}",
        "two commas": BODY.replace(",", ",,", 1),
        "no colon": BODY.replace(":", " ", 1),
        "two colons": BODY.replace(":", "::", 1),
        "single quotes": BODY.replace('"', "'"),
        "names without quotes": '{model: "llama3.2"}',
        "a comment": BODY[:-1] + " /* why */}",
        "a line comment": BODY + " // why",
        "two texts": BODY + BODY,
        "a bracket too many": BODY + "}",
        "the wrong bracket": BODY[:-1] + "]",
        "a control character": BODY.replace("Hi", "H\ni"),
        "a NUL in a text": BODY.replace("Hi", "H\0i"),
        "a NUL after it": BODY + "\0",
        "an unknown escape": BODY.replace("Hi", "\\x41"),
        "half an escape": BODY.replace("Hi", "\\u12"),
        "True": '{"model": "llama3.2", "stream": True}',
        "undefined": '{"model": undefined}',
        "a text": json.dumps(BODY),
        "a list": f"[{BODY}]",
        "null": "null",
        "true": "true",
        "a number": "1",
        "blanks": "  \n\t ",
        "a form": "model=llama3.2&messages=Hi",
        "XML": "<?xml version='1.0'?><model>llama3.2</model>",
        "a name twice": BODY[:-1] + ', "model": "qwen3"}',
        "a name twice, escaped": BODY[:-1] + ', "mod\\u0065l": "qwen3"}',
        "a name twice, inside": BODY.replace('"role"', '"role": "system", "role"'),
    }
    cases += [posted(name, text.encode()) for name, text in texts.items()]
    encodings = ("utf-16", "utf-32", "utf-8-sig", "utf-16-le")
    cases += [posted(f"in {encoding}", BODY.encode(encoding)) for encoding in encodings]
    for depth in (64, 65, 100, 999, 1023, 1025, 5000, 100_000):
        allowed = FINE if depth == 64 else REFUSED  # the body itself is the first level
        for opened, closed in (("[", "]"), ('{"a":', "}")):
            inner = opened * (depth - 1) + "1" + closed * (depth - 1)
            cases.append(posted(f"{depth} levels of {opened}", f'{BODY[:-1]}, "x": {inner}}}'.encode(), allowed))
        cases.append(posted(f"{depth} brackets left open", ("[" * depth).encode()))
    return cases


def numbers() -> list[Case]:
    def field(name: str, text: str, allowed: frozenset[int] = REFUSED) -> Case:
        return posted(f"{name} {text[:30]}", f'{BODY[:-1]}, "{name}": {text}}}'.encode(), allowed)

    malformed = ["NaN", "Infinity", "-Infinity", "01", "+1", ".5", "1.", "0x10", "1_000", "1e", "1e+", "-", "--",
    "1.0.0", "-01", "\u0661", "1,5", "1e1.5", "nan", "inf"]  # fmt: skip
    cases = [field("seed", text) for text in malformed]
    # Refused in a field nobody reads too: another reader of the same bytes may take them otherwise.
    huge = [2**63, -(2**63) - 1, 2**64, 10**30, int("9" * 400), -int("9" * 4000)]
    cases += [field(name, str(number)) for name in ("seed", "unknown") for number in huge]
    cases += [field("temperature", text) for text in ("1e999", "-1e999", "2.0000001", "-0.1", "true", '"1"')]
    cases += [field("temperature", text, FINE) for text in ("-0.0", "0", "1e-320", "2", "0.2e1")]
    cases += [field("max_tokens", text) for text in ("0", "-1", "1.5", "1e2", "2147483648", "1e30")]
    cases += [field("seed", str(number), FINE) for number in (2**63 - 1, -(2**63), 0)]
    return cases


def unicode() -> list[Case]:
    def said(name: str, text: str, allowed: frozenset[int]) -> Case:
        return posted(name, BODY.replace("Hi", text).encode(), allowed)

    lone = ("\\ud800", "\\udfff", "\\udc00\\ud800", "\\ud83d", "a\\udbffb", "\\ud800\\ud800", "\\uDFFF")
    cases = [said(f"lone surrogate {text}", text, REFUSED) for text in lone]
    places = (
        '{"model": "llama3.2", "messages": [{"role": "user", "content": "Hi", "\\ud800": 1}]}',
        '{"model": "\\ud800", "messages": []}',
        '{"\\ud800": 1}',
        '{"model": "llama3.2", "x": ["\\udc00"]}',
    )
    cases += [posted(f"lone surrogate at place {place}", text.encode()) for place, text in enumerate(places)]
    invalid = (
        b"\xff", b"\xfe", b"\x80", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xed\xbf\xbf",
        b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98",
        b"\xc3\x28", b"Gr\xfc\xdfe", b"\xed\xa0\xbd\xed\xb8\x80",
    )  # fmt: skip
    cases += [posted(f"bytes {text.hex()}", BODY.encode().replace(b"Hi", text)) for text in invalid]
    odd = (
        "\\u0000", "\\uffff", "\ufffd", "\U0010ffff", "\u202e", "\u200b", "\u0085\u2028\u2029", "a" + "\u0301" * 2000,
        "\\ud83d\\ude00", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u0661\u0662", "\ufdd0", "\\u001b[31m",
        "\x7f",
        "<|im_end|>", "</s>",
    )  # fmt: skip
    cases += [said(f"odd text {text[:12]!a}", text, FINE) for text in odd]
    names = (
        "llama\u0456",
        "llama3.2\u200b",
        "\uff4c\uff4c\uff41\uff4d\uff41",
        "llama\u0000",
        "\U0001f999",
        "ﬁne",
        "K\u212a",
    )
    cases += [posted(f"model {name!a}", {**GOOD, "model": name}) for name in names]
    cases.append(posted("an unknown name in Greek", {**GOOD, "μ": 1}, EITHER))
    return cases
