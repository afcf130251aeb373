"""The closed list: where a result may differ from the plain run, and why. docs/guides/functions.md has the same list.

An entry is the kind, a part of the place's name (or ""), a part of the step, and the reason.
"""

ALLOWED = [
    ("library classes", "", "is made by C code and cannot be copied",
     "A class that a metaclass in C makes, such as a ctypes.Structure, is refused with the reason (L18)."),
]
# Defects that are known and not mended: the kind, the places, the wrong result, what it is.
KNOWN = [
    ("sentinels", ("module", "module of a package", "module from a file"), "[]",
     "An object without a state in a dict of a module that goes by name arrives as a copy when it is an argument."),
]


def reason(kind, place, text):
    for allowed_kind, allowed_place, allowed_text, why in ALLOWED:
        if allowed_kind == kind and allowed_place in place and allowed_text in text:
            return why
    return None


def is_known(difference):
    """Whether it is a known defect, or an error where there should be a value. L18 forbids another value without an
    error; some programs that should work still end in an error.
    """
    kind = difference.group.uses[difference.program].kind
    return difference.got.startswith("raises ") or any((kind, difference.got) == (known, got) and difference.group.place in places
               for known, places, got, _ in KNOWN)
