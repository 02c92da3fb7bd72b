cdef class Known:
    cdef public dict remembered, shapes
    cdef public Py_ssize_t shape_bytes


cdef class Tally:
    cdef public long long statements, denied, judged_in_child


cdef class Traffic:
    cdef public long long bytes_in, bytes_out


cdef class Progress:
    cdef public long long statements
    cdef public double began, started_at
    cdef public bytes status, short, rest
    cdef public Known in_force
    cdef public Tally tally
