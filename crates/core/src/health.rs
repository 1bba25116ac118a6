//! Which nodes are there: from the time since they were heard.
