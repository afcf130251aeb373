def main(params, context):
    if "numbers" in params:  # the step `total`
        return sum(params["numbers"])
    if "number" in params:  # the step `square`, once for each number
        return params["number"] ** 2
    return [1, 2, 3, 4]  # the step `load`
