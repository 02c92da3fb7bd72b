cdef class Journal:
    cdef Py_buffer view
    cdef unsigned char* memory
    cdef Py_ssize_t size, end
    cdef bint drained  # nothing was put since the last `clear`

    cdef unsigned char* room(self, Py_ssize_t size) noexcept
    cdef void took(self, Py_ssize_t size) noexcept


cdef class Outlet:
    cdef public object at_once
