# Words that any API may have in its paths, shown from the first use: they tell nothing about anyone.

cdef extern from *:
    """
    static const char ordinary_words[] =
        "api apis rest rpc graphql v0 v1 v2 v3 v4 v5 v6 v7 v8 v9 beta alpha internal public private external "
        "admin app apps application applications client clients server service services gateway proxy "
        "user users me self profile profiles account accounts customer customers member members people person "
        "partner partners merchant merchants vendor vendors supplier suppliers company companies org orgs "
        "organization organizations team teams group groups role roles permission permissions policy policies "
        "login logout signin signup signout register auth oauth oauth2 authorize token tokens session sessions "
        "refresh revoke introspect userinfo password reset verify confirm activate key keys secret secrets sso saml mfa otp "
        "order orders cart carts checkout basket item items product products catalog category categories price prices "
        "inventory stock shipment shipments shipping delivery deliveries return returns invoice invoices bill bills billing "
        "payment payments payout payouts refund refunds charge charges transfer transfers transaction transactions "
        "balance balances card cards bank banks wallet wallets ledger statement statements settlement settlements "
        "subscription subscriptions plan plans quote quotes rate rates currency currencies fee fees tax taxes limit limits "
        "authorization authorizations capture captures dispute disputes mandate mandates loan loans consent consents "
        "search query find list lists filter export exports import imports upload uploads download downloads file files "
        "image images photo photos video videos media document documents attachment attachments report reports "
        "dashboard analytics metric metrics stat stats event events log logs audit history activity activities feed feeds "
        "message messages notification notifications email emails mail sms comment comments post posts thread threads "
        "topic topics tag tags note notes task tasks job jobs batch bulk queue queues schedule schedules webhook webhooks "
        "callback callbacks subscribe unsubscribe config configuration setting settings preference preferences feature features "
        "status state health healthz ready readyz live livez ping info version versions docs help schema openapi.json swagger "
        "static assets css js img fonts favicon.ico robots.txt sitemap.xml index.html index about contact home .well-known "
        "address addresses location locations country countries city cities region regions store stores device devices "
        "project projects workspace workspaces folder folders resource resources object objects collection collections "
        "data record records entry entries detail details summary count all new latest recent current default "
        "create update delete remove edit view cancel approve reject close open start stop enable disable sync validate";
    """
    const char *ordinary_words
