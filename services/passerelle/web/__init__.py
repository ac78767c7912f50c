"""The city's pages: the citizen portal, the public register, consultations, the auditor's register, the control room.

They are a client of the consent service, like any other: what is shown comes over its HTTP API, with a token of whoever
looks, so that its rules of access and its log of readers hold here too. Every page works without JavaScript.

`site` is what pages are made from, `visit` who looks and how, `rendering` makes the HTML; each section (`citizen/`,
`register/`, `consultations/`, `audit/`, `control/`) has its routes, its pure view models and its folder of templates.
"""
