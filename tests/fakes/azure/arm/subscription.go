package main

import (
	"net/http"
	"strings"
)

// subscription answers what is not about one resource or those of one group: the subscription itself, a group, resources with a tag, sizes of VMs, a look at an
// operation. False: it is about resources.
func (f *Front) subscription(w http.ResponseWriter, parts []string, r *http.Request, version string) bool {
	config := &f.site.config
	switch {
	case len(parts) < 3:
		f.showSubscription(w, len(parts) == 1, version)
	case len(parts) == 3 && strings.EqualFold(parts[2], "resources"):
		f.tagged(w, r, version)
	case len(parts) == 7 && strings.EqualFold(parts[2], "providers") && parts[4] == "locations" && parts[6] != "":
		f.vmSizes(w, parts[5], parts[6], version)
	case len(parts) == 8 && parts[4] == "locations" && (parts[6] == "operations" || parts[6] == "operationResults"):
		f.operation(w, parts[7], r.URL.Query().Get("monitor") == "true" || parts[6] == "operationResults")
	case len(parts) >= 4 && strings.EqualFold(parts[2], "resourceGroups") && !f.site.hasGroup(parts[3]):
		f.fail(w, fail(http.StatusNotFound, "ResourceGroupNotFound", "Resource group '%s' could not be found.", parts[3]))
	case len(parts) == 4:
		if failure := f.checkVersion("Microsoft.Resources/resourceGroups", version); failure != nil {
			f.fail(w, failure)
			return true
		}
		f.reply(w, http.StatusOK, Object{"id": "/subscriptions/" + parts[1] + "/resourceGroups/" + parts[3], "name": parts[3],
			"type": "Microsoft.Resources/resourceGroups", "location": config.Region, "properties": Object{"provisioningState": "Succeeded"}})
	default:
		return false
	}
	return true
}

// showSubscription shows the only one there is, alone or as a list of one.
func (f *Front) showSubscription(w http.ResponseWriter, list bool, version string) {
	if failure := f.checkVersion("Microsoft.Resources/subscriptions", version); failure != nil {
		f.fail(w, failure)
		return
	}
	config := &f.site.config
	shown := Object{"id": "/subscriptions/" + config.Subscription, "subscriptionId": config.Subscription, "tenantId": config.Tenant,
		"displayName": "Lab", "state": "Enabled", "authorizationSource": "RoleBased", "managedByTenants": []Object{},
		"subscriptionPolicies": Object{"locationPlacementId": "Public_2014-09-01", "quotaId": "PayAsYouGo_2014-09-01", "spendingLimit": "Off"}}
	if list {
		f.reply(w, http.StatusOK, Object{"value": []Object{shown}, "count": Object{"type": "Total", "value": 1}})
		return
	}
	f.reply(w, http.StatusOK, shown)
}

func (f *Front) vmSizes(w http.ResponseWriter, region string, what string, version string) {
	failure := f.checkVersion("Microsoft.Compute/locations", version)
	if failure == nil && (what != "vmSizes" || !strings.EqualFold(region, f.site.config.Region)) {
		failure = fail(http.StatusBadRequest, "NoRegisteredProviderFound", "No registered resource provider found for location '%s' and API version '%s' for type 'locations/%s'.",
			region, version, what)
	}
	if failure != nil {
		f.fail(w, failure)
		return
	}
	values := []Object{}
	for _, size := range f.site.config.Sizes {
		values = append(values, Object{"name": size.Name, "numberOfCores": size.Cores, "osDiskSizeInMB": 1047552, "resourceDiskSizeInMB": 0,
			"memoryInMB": size.MemoryMB, "maxDataDiskCount": size.DataDisksMax})
	}
	f.reply(w, http.StatusOK, Object{"value": values})
}
