def main(params, context):
    return 2 * params["value"]
