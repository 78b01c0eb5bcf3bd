"""
Random histories of the API, and a model of what the warehouse has to hold after them.

In:     steps: what happens to jobs, entities and the clock, and what goes wrong in the run after it.
Out:    a comparison of every row of every table with what the model says.
Never:  code of the extractor in the model; it is a second opinion.
"""
