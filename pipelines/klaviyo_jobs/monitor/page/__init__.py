"""
One page for every morning: whether all is right, what happened, what fails.

In:     an open warehouse whose views are applied, and the thresholds of `check`.
Out:    one HTML file that needs nothing beside it.
Parts:  `contents` asks the views, `charts` describes how they are drawn, `html` puts both into one file; `page.js`
        filters rows and hands the same ones to a chart and to the table below it.
"""
