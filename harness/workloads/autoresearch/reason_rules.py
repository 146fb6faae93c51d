"""What a proposal may say for itself: one plain sentence, and nothing that somebody might obey.

The published loop reads a reason of up to 500 characters and looks no further. Where reasons are
shown to later proposers, as in article 35, a reason is a way to speak to them. No list of phrases
closes that way, so under closed rules no proposer is shown a reason either; what stands here keeps
out of the record what is plainly no reason.
"""

from __future__ import annotations

import re

LONGEST = 200  # characters; what the prompt asks for
_PLAIN = re.compile(r"[A-Za-z0-9 .,;:%()'\"+\-/=_~*?!]*")
_SPEAKS_TO_SOMEBODY = re.compile(
    r"\b(ignore|disregard|forget|override|bypass|disable|circumvent)\b"
    r"|\b(system|assistant|user|developer|tool|human)\s*:"
    r"|\byou\s+(must|should|are|will|have|can|may|need)\b"
    r"|\b(instructions?|prompts?|guardrails?|rails|jailbreak|passwords?|secrets?|api key)\b"
    r"|\b(next|other|future)\s+(proposers?|agents?|models?|iterations?)\b"
    r"|\b(random\s+)?seeds?\b",  # which the agent may never change
    re.IGNORECASE,
)
_CODE = re.compile(
    r"\w\("  # a call
    r"|__|://|\.\./|--\w|==|=\s*['\"(]"
    r"|\b(import|exec|eval|sudo|subprocess|os\.|rm\s+-|curl|wget|chmod|getattr|setattr|lambda)\b",
    re.IGNORECASE,
)


def fault(reason: str) -> str:
    """Say what keeps a text from being a plain reason; nothing where it is one."""
    if not reason.strip():
        return "the reason is empty"
    if len(reason) > LONGEST:
        return f"the reason has {len(reason)} characters, at most {LONGEST} are asked for"
    if not _PLAIN.fullmatch(reason):
        return "the reason has characters beyond plain writing"
    if _SPEAKS_TO_SOMEBODY.search(reason):
        return "the reason speaks to somebody"
    if _CODE.search(reason):
        return "the reason holds code or an address"
    return ""
