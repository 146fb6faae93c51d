"""The articles, one package each: parameters, the run, recomputed figures."""
