"""Adds up the results of all parts: the reduce step after a map."""


def main(params, context):
    categories, broken = {}, []
    for part in params["parts"]:
        for name, entry in part["categories"].items():
            total = categories.setdefault(name, dict.fromkeys(entry, 0))
            for key, value in entry.items():
                total[key] += value
        broken.extend(part["broken"])
    return {"categories": categories, "broken": broken}
