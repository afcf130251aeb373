def main(params, context):
    if context.attempt < 3:
        raise ConnectionError("the server is busy")
    return "the page, by attempt %d" % context.attempt
