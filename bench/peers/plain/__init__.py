"""Plain Strawberry as its documentation shows it: types with resolvers, SQLAlchemy's ORM, a DataLoader a relation."""
