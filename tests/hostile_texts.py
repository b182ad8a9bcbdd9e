"""Texts that would become markup, scripts or mathematics if a page let them."""

__all__ = ["HOSTILE"]

HOSTILE = (
    "</script><img src=x onerror=window.pwned=1>",
    "<!--<script>window.pwned=1</script>",
    '"><svg/onload=window.pwned=1>',
    "' onmouseover='window.pwned=1",
    "{{ 7 * 7 }}{% raw %}",
    "line\u2028separator\u2029\x00\x1b[2J",
    "$$\\href{javascript:window.pwned=1}{x}$$",
    "javascript:window.pwned=1",
    "]]></style></textarea></title><iframe srcdoc='<script>parent.pwned=1</script>'>",
    "caf\udce9 星 \U0001f31f",
    "__proto__",
    "a&lt;b&amp;#x3c;",
)
