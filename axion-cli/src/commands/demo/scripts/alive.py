def main(params, context):
    try:
        with open("/proc/%d/cmdline" % params["pid"]) as file:
            return bool(file.read())  # that of a zombie is empty
    except OSError:
        return False
