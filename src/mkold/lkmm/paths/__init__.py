"""Each thread's ways through the graph, and what a path alone decides."""
