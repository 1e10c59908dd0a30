package main

import (
	"crypto/rand"
	"fmt"
	"strings"
)

// Object is JSON.
type Object = map[string]any

// ID is a resource's.
type ID struct {
	Subscription, Group, Provider, Type, Name string
	Rest                                      []string // what follows in the path
}

// parseID reads a path from /subscriptions on. Name is empty in one of a list, and Group in one of a list of the whole subscription.
func parseID(path string) (ID, bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) == 5 && strings.EqualFold(parts[2], "providers") {
		parts = append(append(append([]string{}, parts[:2]...), "resourceGroups", ""), parts[2:]...)
	}
	if len(parts) < 7 || !strings.EqualFold(parts[0], "subscriptions") || !strings.EqualFold(parts[2], "resourceGroups") ||
		!strings.EqualFold(parts[4], "providers") {
		return ID{}, false
	}
	id := ID{Subscription: parts[1], Group: parts[3], Provider: parts[5], Type: parts[6]}
	for _, known := range []string{"virtualMachines", "disks", "networkInterfaces", "virtualNetworks", "storageAccounts"} {
		if strings.EqualFold(id.Type, known) {
			id.Type = known
		}
	}
	for _, known := range []string{"Microsoft.Compute", "Microsoft.Network", "Microsoft.Storage"} {
		if strings.EqualFold(id.Provider, known) {
			id.Provider = known
		}
	}
	if len(parts) > 7 {
		id.Name = parts[7]
		id.Rest = parts[8:]
	}
	return id, true
}

func (id ID) String() string {
	return fmt.Sprintf("/subscriptions/%s/resourceGroups/%s/providers/%s/%s/%s", id.Subscription, id.Group, id.Provider, id.Type, id.Name)
}

// key is what resources are kept by: Azure compares ids without regard to case.
func (id ID) key() string { return strings.ToLower(id.String()) }

func keyOf(id string) string { return strings.ToLower(id) }

func makeUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// at is the value at a path of names; nil where there is none.
func at(value any, path ...string) any {
	for _, name := range path {
		object, is := value.(Object)
		if !is {
			return nil
		}
		value = object[name]
	}
	return value
}

func textAt(value any, path ...string) string {
	text, _ := at(value, path...).(string)
	return text
}

func numberAt(value any, path ...string) int {
	number, _ := at(value, path...).(float64)
	return int(number)
}

func listAt(value any, path ...string) []any {
	list, _ := at(value, path...).([]any)
	return list
}

func objectAt(value any, path ...string) Object {
	object, _ := at(value, path...).(Object)
	return object
}
