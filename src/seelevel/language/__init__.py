"""Reading texts: noun chunks, mentions of objects, and vectors that compare meanings."""
