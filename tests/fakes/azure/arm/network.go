package main

import (
	"net"
	"net/http"
	"strings"
)

// network answers for virtual networks and their subnets, which are those of the configuration.
func (f *Front) network(w http.ResponseWriter, q *Request) *Failure {
	config := &f.site.config
	for _, each := range config.Networks {
		if !strings.EqualFold(each.Group, q.id.Group) || !strings.EqualFold(each.Name, q.id.Name) {
			continue
		}
		id := q.id
		id.Name = each.Name
		subnets := []Object{}
		for _, subnet := range each.Subnets {
			shown := Object{"id": id.String() + "/subnets/" + subnet.Name, "name": subnet.Name, "type": "Microsoft.Network/virtualNetworks/subnets",
				"properties": Object{"provisioningState": "Succeeded", "addressPrefix": subnet.Prefix}}
			if len(q.id.Rest) == 2 && strings.EqualFold(q.id.Rest[1], subnet.Name) {
				f.reply(w, http.StatusOK, shown)
				return nil
			}
			subnets = append(subnets, shown)
		}
		if len(q.id.Rest) == 2 {
			return fail(http.StatusNotFound, "NotFound", "Resource %s/subnets/%s not found.", q.id, q.id.Rest[1])
		}
		f.reply(w, http.StatusOK, Object{"id": id.String(), "name": each.Name, "type": "Microsoft.Network/virtualNetworks", "location": or(each.Region, config.Region),
			"properties": Object{"provisioningState": "Succeeded", "addressSpace": Object{"addressPrefixes": each.Prefixes}, "subnets": subnets}})
		return nil
	}
	return notFound(q.id)
}

// storageAccount answers for accounts, which are those of the configuration.
func (f *Front) storageAccount(w http.ResponseWriter, q *Request) *Failure {
	config := &f.site.config
	for _, each := range config.Accounts {
		if !strings.EqualFold(each.Group, q.id.Group) || !strings.EqualFold(each.Name, q.id.Name) {
			continue
		}
		if q.http.Method != http.MethodGet {
			return fail(http.StatusMethodNotAllowed, "MethodNotAllowed", "The method is not allowed.")
		}
		id := q.id
		id.Name = each.Name
		blob := or(each.Blob, "https://"+each.Name+".blob.core.windows.net")
		f.reply(w, http.StatusOK, Object{"id": id.String(), "name": each.Name, "type": "Microsoft.Storage/storageAccounts", "kind": "StorageV2",
			"location": or(each.Region, config.Region), "sku": Object{"name": "Standard_LRS", "tier": "Standard"},
			"properties": Object{"provisioningState": "Succeeded", "primaryEndpoints": Object{"blob": strings.TrimSuffix(blob, "/") + "/"}}})
		return nil
	}
	return notFound(q.id)
}

func or(value string, standard string) string {
	if value == "" {
		return standard
	}
	return value
}

// prefixOf is the subnet's, or nil.
func (s *Site) prefixOf(id string) *net.IPNet {
	parsed, is := parseID(id)
	if !is || len(parsed.Rest) != 2 {
		return nil
	}
	for _, each := range s.config.Networks {
		for _, subnet := range each.Subnets {
			if strings.EqualFold(each.Group, parsed.Group) && strings.EqualFold(each.Name, parsed.Name) && strings.EqualFold(subnet.Name, parsed.Rest[1]) {
				_, prefix, _ := net.ParseCIDR(subnet.Prefix)
				return prefix
			}
		}
	}
	return nil
}

func (f *Front) networkInterface(w http.ResponseWriter, q *Request) *Failure {
	s := f.site
	r := s.find(q.id.String())
	if r == nil && q.http.Method != http.MethodPut {
		if q.http.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		return notFound(q.id)
	}
	switch q.http.Method {
	case http.MethodGet:
		s.mutex.Lock()
		out := s.render(r)
		s.mutex.Unlock()
		f.reply(w, http.StatusOK, out)
	case http.MethodPut:
		return f.putInterface(w, q, r)
	case http.MethodDelete:
		s.mutex.Lock()
		owner := r.Owner
		s.mutex.Unlock()
		if owner != "" {
			return fail(http.StatusBadRequest, "NicInUse", "Network Interface %s is used by existing resource %s. In order to delete the network interface, it must be "+
				"dissociated from the resource. To learn more, see aka.ms/deletenic.", q.id, owner)
		}
		f.accepted(w, s.begin("interface.delete", r, q))
	default:
		return fail(http.StatusMethodNotAllowed, "MethodNotAllowed", "The method is not allowed.")
	}
	return nil
}

func (f *Front) putInterface(w http.ResponseWriter, q *Request, r *Resource) *Failure {
	s := f.site
	properties := objectAt(q.body, "properties")
	configurations := listAt(properties, "ipConfigurations")
	if len(configurations) == 0 {
		return fail(http.StatusBadRequest, "NetworkInterfaceMustHaveAtLeastOneIpConfiguration", "Network interface %s must have one or more IP configurations.", q.id)
	}
	for _, each := range configurations {
		subnet := textAt(each, "properties", "subnet", "id")
		prefix := s.prefixOf(subnet)
		if prefix == nil {
			return fail(http.StatusBadRequest, "InvalidResourceReference", "Resource %s referenced by resource %s was not found. Please make sure that the referenced "+
				"resource exists, and that both resources are in the same region.", subnet, q.id)
		}
		if address := textAt(each, "properties", "privateIPAddress"); address != "" && strings.EqualFold(textAt(each, "properties", "privateIPAllocationMethod"), "Static") {
			if !prefix.Contains(net.ParseIP(address)) {
				return fail(http.StatusBadRequest, "PrivateIPAddressNotInSubnet", "Private static IP address %s does not belong to the range of subnet prefix %s.", address, prefix)
			}
			if other := s.addressUser(address, q.id); other != "" {
				return fail(http.StatusBadRequest, "PrivateIPAddressInUse", "IP configuration %s/ipConfigurations/ipconfig1 is using the private IP address %s which is already allocated to resource %s.",
					q.id, address, other)
			}
		}
	}
	made := r == nil
	s.change(func() {
		if made {
			r = &Resource{ID: q.id, State: "Updating", Made: now()}
			s.resources[q.id.key()] = r
		}
		r.Location, r.Tags, r.Properties = s.config.Region, objectAt(q.body, "tags"), properties
		s.makeInterface(r)
		r.State = "Updating"
	})
	f.put(w, r, s.begin("interface.put", r, q), made)
	return nil
}

func (s *Site) addressUser(address string, but ID) string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, each := range s.resources {
		if each.ID.Type == "networkInterfaces" && each.Address == address && each.ID.key() != but.key() {
			return each.ID.String()
		}
	}
	return ""
}

// makeInterface gives it an address. It needs the mutex.
func (s *Site) makeInterface(r *Resource) {
	configuration := listAt(r.Properties, "ipConfigurations")[0]
	wanted := textAt(configuration, "properties", "privateIPAddress")
	if wanted != "" && strings.EqualFold(textAt(configuration, "properties", "privateIPAllocationMethod"), "Static") {
		r.Address = wanted
		return
	}
	prefix := s.prefixOf(textAt(configuration, "properties", "subnet", "id"))
	if prefix == nil || r.Address != "" && prefix.Contains(net.ParseIP(r.Address)) {
		return
	}
	used := map[string]bool{}
	for _, each := range s.resources {
		used[each.Address] = true
	}
	// The first four of a subnet are Azure's.
	for last := 4; last < 255; last++ {
		address := append(net.IP{}, prefix.IP.To4()...)
		address[3] += byte(last)
		if prefix.Contains(address) && !used[address.String()] {
			r.Address = address.String()
			return
		}
	}
}

func (s *Site) renderInterface(r *Resource, out Object, properties Object) {
	var configurations []Object
	for i, each := range listAt(r.Properties, "ipConfigurations") {
		shown := Object{}
		for name, value := range objectAt(each, "properties") {
			shown[name] = value
		}
		if i == 0 {
			shown["privateIPAddress"] = r.Address
		}
		shown["provisioningState"] = r.State
		name := textAt(each, "name")
		configurations = append(configurations, Object{"id": r.ID.String() + "/ipConfigurations/" + name, "name": name, "properties": shown})
	}
	properties["ipConfigurations"] = configurations
	if r.MAC != "" {
		properties["macAddress"] = r.MAC
	}
	if r.Owner != "" {
		properties["virtualMachine"] = Object{"id": r.Owner}
	}
	_ = out
}
