"""
Look at everything that a run needs, and say what is wrong before a run does.

In:     the settings and where they come from, the API, the warehouse's place, the installed versions.
Out:    `Diagnosis`: a checklist for a terminal or a mail, or one JSON object.
Never:  a write, a key shown, a call that costs more than a page of queued jobs.
"""
