"""Drawing of synthetic cells: shapes, layouts, inner structure, optics and cameras."""
