//! What shall be rebuilt, from where, onto which node: a pure plan.
