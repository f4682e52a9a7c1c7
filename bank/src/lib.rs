//! The demonstration: users, accounts, transactions, and a workload of customers.
