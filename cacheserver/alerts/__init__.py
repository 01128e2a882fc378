"""Alerts on spending, quality and the store, delivered by webhook, Slack and mail.

Promises: an alert is sent once for each occasion, and a failing receiver is retried and counted.
`rules`, `budget_rules`, `store_rules` and `forecast` are pure.
Started by `bootstrap`; listed by the routes of alerts.
"""
