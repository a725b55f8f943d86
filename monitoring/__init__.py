"""The alarms and the dashboard: `make generated` writes them into template.yaml.

alarms     when an operator is called, and what the call says
dashboard  what an operator can look at
template   their part of template.yaml
"""
