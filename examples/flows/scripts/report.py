"""Writes the totals as a Markdown table, the largest turnover first."""


def main(params, context):
    totals, broken = params["totals"], params["broken"]
    lines = ["# Turnover in %s" % params["source"], "", "| category | orders | items | turnover |", "| --- | ---: | ---: | ---: |"]
    for name, entry in sorted(totals.items(), key=lambda item: -item[1]["cents"]):
        turnover = "%d.%02d" % divmod(entry["cents"], 100)
        lines.append("| %s | %d | %d | %s |" % (name, entry["orders"], entry["items"], turnover))
    orders = sum(entry["orders"] for entry in totals.values())
    lines += ["", "%d orders; %d rows could not be read." % (orders, len(broken))]
    return {"text": "\n".join(lines) + "\n", "orders": orders, "broken": len(broken)}
