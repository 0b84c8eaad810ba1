"""ecgtwin: what would this patient's ECG look like if their heart were in another state?"""
