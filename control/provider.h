/*
 * provider.h - who runs the mail hosts of a destination: what limits, reputation and statistics of
 * mailbox providers are kept by. Pure; no allocation after provider_list_new().
 *
 *     all MX hosts are below suffixes of one provider       its name: "gmail"
 *     else, all have the same registrable domain            that: "mail.example.co.uk" is
 * "example.co.uk" else                                                  "set:" and a hash of the
 * set of names an address literal                                    "ip:192.0.2.1";
 * "ip:2001:db8::/64" no MX                                                 the domain is its own
 * host: as above
 *
 * The longest suffix wins, so that a provider may own a part of another's domain (Outlook's
 * consumer hosts below protection.outlook.com). Filter services are providers of their own: they
 * judge the source address, not the mailboxes behind them.
 *
 * Registrable domains are those of the Public Suffix List with its private part (libpsl): two
 * customers of one hoster are two owners. The hash is not secret and the same on all machines, so
 * that what was learned under the name stays. Nobody gains by a collision: whoever owns a domain
 * can have any provider's name anyway, by naming its hosts in the MX records.
 */
#ifndef WIREPOST_PROVIDER_H
#define WIREPOST_PROVIDER_H

#include "tcp/base.h"

#define PROVIDER_NAME_BYTES 64u /* with its NUL: what strategies/ takes as a name */

struct provider_list;

/* "google.com" means that name and all below it. Lower case, without dots at the ends. */
struct provider_suffix {
    const char *suffix;
    const char *name; /* of the provider: 1 to 63 bytes */
};

/* Copies both lists: of MX hosts, and of mail domains (for those that are not looked up). Null: no
 * memory, no Public Suffix List, or a suffix twice in a list (ret_twice names it; else it is null).
 */
struct provider_list *provider_list_new(const struct provider_suffix *mx, uint32_t n_mx,
                                        const struct provider_suffix *domains, uint32_t n_domains,
                                        const char **ret_twice);
void provider_list_free(struct provider_list *list);

/* From the names of the MX hosts (n >= 1; lower case, in any order, none twice). */
void provider_of_hosts(const struct provider_list *list, const char *const *hosts, uint32_t n,
                       char ret_name[PROVIDER_NAME_BYTES]);
/* From the domain alone, of mail that a relay takes: nobody asks DNS for it. */
void provider_of_domain(const struct provider_list *list, const char *domain,
                        char ret_name[PROVIDER_NAME_BYTES]);
void provider_of_address(const struct ip_addr *addr, char ret_name[PROVIDER_NAME_BYTES]);

#endif
