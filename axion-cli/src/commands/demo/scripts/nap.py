import time


def main(params, context):
    time.sleep(params["seconds"])
