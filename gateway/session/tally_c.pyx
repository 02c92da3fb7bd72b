# cython: language_level=3
"""The compiled twin of `tally`: the same fields. What C makes is zero."""


cdef class Known:
    def __init__(self, Py_ssize_t shape_bytes):
        self.remembered = {}
        self.shapes = {}
        self.shape_bytes = shape_bytes


cdef class Tally:
    pass


cdef class Traffic:
    pass


cdef class Progress:
    def __init__(self, Known in_force not None, Tally tally not None, bytes short not None, bytes rest not None):
        self.in_force = in_force
        self.tally = tally
        self.short = short
        self.rest = rest
        self.status = b"I"
