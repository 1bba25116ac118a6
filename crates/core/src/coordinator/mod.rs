//! The coordinator: namespace, layouts, health, repair. Sees metadata only.
