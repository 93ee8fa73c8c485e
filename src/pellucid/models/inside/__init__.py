"""What is told of the inside of a model: contributions of its layers and heads, and measures of its attention."""
