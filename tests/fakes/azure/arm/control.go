package main

import (
	"encoding/json"
	"net/http"
	"regexp"
	"time"
)

// Rule is one fault on demand.
type Rule struct {
	Method string `json:"method"` // empty: any
	Path   string `json:"path"`   // regular expression, of the path; empty: any
	Count  int    `json:"count"`  // 0: always
	Skip   int    `json:"skip"`   // requests before the first
	// What happens. A status instead of an answer; a connection that ends before ("request") or after ("reply") it was done; or
	// an operation that is begun and fails.
	Status     int      `json:"status"`
	Code       string   `json:"code"`
	Message    string   `json:"message"`
	Body       string   `json:"body"` // instead of an error of Azure
	RetryAfter *int     `json:"retry_after_s"`
	Drop       string   `json:"drop"`
	DelayMS    int      `json:"delay_ms"` // before
	HangMS     int      `json:"hang_ms"`  // after, of a reply that is dropped
	Operation  *Failure `json:"operation"`
}

// take is the rule that is for the request.
func (f *Front) take(method string, path string) *Rule {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for i, rule := range f.faults {
		matches, err := regexp.MatchString("(?i)"+rule.Path, path)
		if err != nil || !matches || (rule.Method != "" && rule.Method != method) {
			continue
		}
		if rule.Skip > 0 {
			rule.Skip--
			continue
		}
		if rule.Count == 1 {
			f.faults = append(f.faults[:i:i], f.faults[i+1:]...)
		} else if rule.Count > 1 {
			rule.Count--
		}
		return rule
	}
	return nil
}

// control is for tests.
func (f *Front) control(w http.ResponseWriter, r *http.Request) {
	var order struct {
		Fault            *Rule  `json:"fault"`
		ClearFaults      bool   `json:"clear_faults"`
		RevokeTokens     bool   `json:"revoke_tokens"`
		TokenSeconds     *int   `json:"token_seconds"`
		OperationMS      *int   `json:"operation_ms"`
		RetryAfter       *int   `json:"retry_after_s"`
		PageSize         *int   `json:"page_size"`
		Reads            *int   `json:"reads_left"`
		ForgetOperations bool   `json:"forget_operations"`
		Remove           string `json:"remove"` // resource
		Move             string `json:"move"`   // resource
		To               string `json:"to_group"`
		Power            string `json:"set_power"` // of the VM that is `id`
		ID               string `json:"id"`
	}
	if err := json.NewDecoder(r.Body).Decode(&order); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s := f.site
	s.change(func() {
		set := func(value *int, from *int) {
			if from != nil {
				*value = *from
			}
		}
		set(&s.config.TokenSeconds, order.TokenSeconds)
		set(&s.config.OperationMS, order.OperationMS)
		set(&s.config.RetryAfter, order.RetryAfter)
		set(&s.config.PageSize, order.PageSize)
		if order.RevokeTokens {
			s.notBefore = time.Now()
		}
		if order.ForgetOperations {
			for id, each := range s.operations {
				if each.Status != inProgress {
					delete(s.operations, id)
				}
			}
		}
		if removed := s.resources[keyOf(order.Remove)]; removed != nil {
			s.release(removed)
			delete(s.resources, keyOf(order.Remove))
		}
		if moved := s.resources[keyOf(order.Move)]; moved != nil {
			delete(s.resources, moved.ID.key())
			moved.ID.Group = order.To
			s.resources[moved.ID.key()] = moved
		}
		if vm := s.resources[keyOf(order.ID)]; vm != nil && order.Power != "" {
			vm.Power = order.Power
		}
	})
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if order.Fault != nil {
		f.faults = append(f.faults, order.Fault)
	}
	if order.ClearFaults {
		f.faults = nil
	}
	if order.Reads != nil {
		f.reads = *order.Reads
	}
	f.reply(w, http.StatusOK, Object{"calls": f.calls})
}
