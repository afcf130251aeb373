"""Uses functions and a script as steps of a workflow. The steps count the words of texts in parallel and add up the
counts. A function gets exactly what another one returned, here a `Counter`."""

import os
from collections import Counter

import axion
from axion import Ref, Task, chord, group, step

HERE = os.path.dirname(os.path.abspath(__file__))
TEXTS = ["pages.py", "orders.py", "dask_on_axion.py"]


def words(name):
    with open(os.path.join(HERE, name)) as file:
        return Counter(word for word in file.read().split() if word.isalpha())


@axion.task(retries=1)
def together(counts):
    return sum(counts, Counter())


def sentence(all_words, primes):
    return "%d words, the most frequent is %r; and %d primes" % (len(all_words), all_words.most_common(1)[0][0], primes)


counted = chord(group(step(words, name) for name in TEXTS), together.step())
primes = Task(os.path.join(HERE, os.pardir, "scripts", "primes.py"), {"limit": 100}, name="primes")
report = step(sentence, counted, Ref(primes, "count")).options(name="report")

with axion.Engine(cpu_bound_count=2) as engine:
    workflow = engine.submit_workflow(report, name="words")  # what it takes comes along
    print(workflow.result(timeout=40)["report"])
    print("%d words are in %s" % (len(workflow.future("words").result()), TEXTS[0]))
