cdef bytes shape_in(const unsigned char* text, Py_ssize_t size)
