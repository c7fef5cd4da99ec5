"""Defines the result of a Probe, the errors of a call, and the verdict on the driver's health.

result     what one Probe found
errors     how a call to the driver can fail
verdict    the answer to a health question, from the last result and its age
"""
