package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"
)

// Resource is a VM, a disk or an interface. Fields beside ID, Location, Tags, Sku and Properties are what Azure knows and tells
// elsewhere.
type Resource struct {
	ID         ID     `json:"id"`
	Location   string `json:"location"`
	Tags       Object `json:"tags,omitempty"`
	Sku        Object `json:"sku,omitempty"`
	Zones      []any  `json:"zones,omitempty"`
	Properties Object `json:"properties"`
	State      string `json:"state"` // provisioningState
	Made       string `json:"made"`

	// Of a VM.
	UUID    string   `json:"uuid,omitempty"`
	Power   string   `json:"power,omitempty"` // running, stopped, deallocated, ...
	Failure *Failure `json:"failure,omitempty"`
	// Of a disk and an interface: the VM that has it.
	Owner string `json:"owner,omitempty"`
	// Of a disk.
	Bytes  int64  `json:"bytes,omitempty"`
	File   string `json:"file,omitempty"`
	Access string `json:"access,omitempty"` // secret of the URL that its content can be read at
	// Of an interface.
	Address string `json:"address,omitempty"`
	MAC     string `json:"mac,omitempty"`
}

// Site is a subscription: its resources, kept in its state directory, and operations on them.
type Site struct {
	config Config
	flags  Flags
	blobs  *Blobs

	mutex      sync.Mutex
	resources  map[string]*Resource
	operations map[string]*Operation
	signing    []byte // key of tokens
	notBefore  time.Time
	busy       map[string]*sync.Mutex // by resource: what is done to it is done one after the other
	work       sync.WaitGroup
	ending     chan struct{} // closed when the program is to end
}

type saved struct {
	Resources  []*Resource  `json:"resources"`
	Operations []*Operation `json:"operations"`
	Signing    []byte       `json:"signing"`
	NotBefore  time.Time    `json:"not_before"`
}

// OpenSite reads what is in the state directory.
func OpenSite(config Config, flags Flags) (*Site, error) {
	if flags.State == "" {
		return nil, errors.New("--state names no directory")
	}
	if err := os.MkdirAll(filepath.Join(flags.State, "disks"), 0o700); err != nil {
		return nil, err
	}
	blobs, err := NewBlobs(flags)
	if err != nil {
		return nil, err
	}
	s := &Site{config: config, flags: flags, blobs: blobs, resources: map[string]*Resource{}, operations: map[string]*Operation{},
		signing: []byte(makeUUID() + makeUUID()), busy: map[string]*sync.Mutex{}, ending: make(chan struct{})}
	text, err := os.ReadFile(s.stateFile())
	if err == nil {
		var state saved
		if err := json.Unmarshal(text, &state); err != nil {
			return nil, err
		}
		s.signing, s.notBefore = state.Signing, state.NotBefore
		for _, each := range state.Resources {
			s.resources[each.ID.key()] = each
		}
		for _, each := range state.Operations {
			s.operations[each.ID] = each
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return s, s.save()
}

// GoOn resumes operations that had not ended.
func (s *Site) GoOn() {
	s.mutex.Lock()
	var unfinished []*Operation
	for _, each := range s.operations {
		if each.Status == inProgress {
			unfinished = append(unfinished, each)
		}
	}
	s.mutex.Unlock()
	for _, each := range unfinished {
		s.run(each)
	}
}

// Close waits for what is under way: a command of the lab is never left in its midst.
func (s *Site) Close(limit time.Duration) {
	close(s.ending)
	ended := make(chan struct{})
	go func() {
		s.work.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(limit):
	}
	if s.flags.OffAtEnd {
		for _, vm := range s.list("virtualMachines", "") {
			s.powerDown(vm, "stopped")
		}
	}
}

func (s *Site) stateFile() string { return filepath.Join(s.flags.State, "state.json") }

// save needs the mutex.
func (s *Site) save() error {
	state := saved{Signing: s.signing, NotBefore: s.notBefore}
	for _, each := range s.resources {
		state.Resources = append(state.Resources, each)
	}
	for _, each := range s.operations {
		state.Operations = append(state.Operations, each)
	}
	text, err := json.MarshalIndent(state, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.stateFile()+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(s.stateFile()+".new", s.stateFile())
}

// change runs `what` under the mutex and keeps what it did.
func (s *Site) change(what func()) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	what()
	_ = s.save()
}

// find is the resource, or nil.
func (s *Site) find(id string) *Resource {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.resources[keyOf(id)]
}

// list is sorted by name.
func (s *Site) list(kind string, group string) []*Resource {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var out []*Resource
	for _, each := range s.resources {
		if each.ID.Type == kind && (group == "" || strings.EqualFold(each.ID.Group, group)) {
			out = append(out, each)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID.key() < out[j].ID.key() })
	return out
}

func (s *Site) hasGroup(name string) bool {
	for _, each := range s.config.Groups {
		if strings.EqualFold(each, name) {
			return true
		}
	}
	return false
}

// lock is held while something is done to a resource.
func (s *Site) lock(key string) *sync.Mutex {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.busy[key] == nil {
		s.busy[key] = &sync.Mutex{}
	}
	return s.busy[key]
}

// render is what a GET shows. It needs the mutex.
func (s *Site) render(r *Resource) Object {
	properties := Object{}
	for name, value := range r.Properties {
		properties[name] = value
	}
	properties["provisioningState"] = r.State
	out := Object{"id": r.ID.String(), "name": r.ID.Name, "type": r.ID.Provider + "/" + r.ID.Type, "location": r.Location, "properties": properties}
	if r.Tags != nil {
		out["tags"] = r.Tags
	}
	if r.Sku != nil {
		out["sku"] = r.Sku
	}
	if r.Zones != nil {
		out["zones"] = r.Zones
	}
	switch r.ID.Type {
	case "virtualMachines":
		properties["vmId"] = r.UUID
		properties["timeCreated"] = r.Made
	case "disks":
		s.renderDisk(r, out, properties)
	case "networkInterfaces":
		s.renderInterface(r, out, properties)
	}
	return out
}
