"""The page: its choices, views and charts. Every figure comes from `advisor.service`; none is made here."""
