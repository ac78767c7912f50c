"""Test identities. Nobody of these exists."""

PEOPLE = {
    "claire": {
        "story": "Deux enfants, vient de déménager",
        "claims": {
            "given_name": "Claire Anne",
            "family_name": "MOREL",
            "birthdate": "1984-06-12",
            "gender": "female",
            "birthplace": "75056",
            "birthcountry": "99100",
        },
    },
    "thea": {
        "story": "Un nom avec tous ses accents",
        "claims": {
            "given_name": "Théa-Zoë Ğülşen",
            "family_name": "ÇELİK-ŁÓDŹ",
            "preferred_username": "Çelik-Łódź",
            "birthdate": "1999-01-01",
            "gender": "female",
            "birthplace": "",
            "birthcountry": "99208",
        },
    },
    "dpo": {"story": "Auditrice", "claims": {"name": "Nadia Lefort", "passerelle_roles": ["auditor"]}},
    "on-call": {"story": "D’astreinte", "claims": {"name": "Yann Kerbrat", "passerelle_roles": ["operator"]}},
    "registrar": {
        "story": "Officière d’état civil",
        "claims": {
            "name": "Lucie Amar",
            "passerelle_roles": ["officer"],
            "passerelle_department": "civil-registry",
        },
    },
    "nobody": {"story": "Agent sans droit", "claims": {"name": "Paul Petit", "passerelle_roles": []}},
}
