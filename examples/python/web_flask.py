"""A Flask service whose requests compute in Axion's workers."""

import functools

from flask import Flask, jsonify

import axion

app = Flask(__name__)


@functools.cache
def engine() -> axion.Engine:
    """The engine of this process. It starts with the first request, because an engine does not survive a fork."""
    return axion.Engine(cpu_bound_count=1, io_bound_count=0, input_queue_size=100).start()


def word_lengths(text):
    return {word: len(word) for word in text.split()}


@app.errorhandler(axion.TaskTimeout)
def too_slow(error):
    return jsonify(error=error.code), 504


@app.errorhandler(axion.SubmitError)
def refused(error):
    return jsonify(error=error.code), 503


@app.get("/lengths/<text>")
def lengths(text):
    return jsonify(engine().options(timeout=20, wait=False).submit(word_lengths, text).result())


@app.get("/health")
def health():
    return jsonify(health=engine().get_health().overall_health.value)
