"""Runs scikit-learn's parallel work in Axion's workers. Needs scikit-learn: pip install scikit-learn."""

import joblib
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

import axion.joblib

axion.joblib.register()
points, kinds = make_classification(500, random_state=0)
with joblib.parallel_config(backend="axion", n_jobs=2):
    scores = cross_val_score(RandomForestClassifier(20, random_state=0), points, kinds, cv=4)
print("mean score %.2f" % scores.mean())
