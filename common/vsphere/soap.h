// SOAP as the vSphere Web Services API speaks it: requests are written, replies are read. pugixml's
// home, with decode.cc.
#ifndef HOMEWARD_COMMON_VSPHERE_SOAP_H_
#define HOMEWARD_COMMON_VSPHERE_SOAP_H_

#include <memory>
#include <pugixml.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "common/vsphere/objects.h"

namespace homeward::vsphere {

// Writes elements in the order of the calls: the API's types are sequences, whose order counts.
class XmlWriter {
 public:
  XmlWriter()
      : document_(std::make_unique<pugi::xml_document>()), root_(*document_), open_(root_) {}
  // `type` is an xsi:type, where the API wants a subtype of what it declares.
  XmlWriter& Begin(absl::string_view name, absl::string_view type = "");
  XmlWriter& End();
  XmlWriter& Text(absl::string_view name, absl::string_view value);
  XmlWriter& Number(absl::string_view name, int64_t value);
  XmlWriter& Bool(absl::string_view name, bool value);
  // Text inside of what was begun.
  XmlWriter& Content(absl::string_view value);
  XmlWriter& Reference(absl::string_view name, const Ref& ref);
  // What was written. Requires: every element that was begun was ended.
  std::string text() const;

 private:
  friend std::string MakeRequest(absl::string_view method, const Ref& self,
                                 const XmlWriter& arguments);
  // Writes under a node of another document, which has to outlive this.
  explicit XmlWriter(pugi::xml_node under) : root_(under), open_(under) {}
  std::unique_ptr<pugi::xml_document> document_;  // none under a node of another
  pugi::xml_node root_;
  pugi::xml_node open_;  // the innermost element that was begun and not ended
};

// A whole request: `method` called on `self`, with what `arguments` holds after _this.
std::string MakeRequest(absl::string_view method, const Ref& self, const XmlWriter& arguments);

class Reply {
 public:
  // Reads an envelope. A fault is a status (fault.h), whatever the HTTP code; what is no envelope
  // is INTERNAL and says how it begins. `http_code` is for the message.
  static absl::StatusOr<Reply> Parse(std::string body, int http_code);

  // The method's response; its children named returnval are what it returns.
  pugi::xml_node response() const { return response_; }
  pugi::xml_node value() const { return response_.child("returnval"); }
  Ref reference() const;

 private:
  std::unique_ptr<std::string> body_;  // the document points into it
  std::unique_ptr<pugi::xml_document> document_;
  pugi::xml_node response_;
};

Ref ReadRef(pugi::xml_node node);
// xsi:type without a prefix of a namespace; of what has none, empty.
std::string TypeOf(pugi::xml_node node);
// A status of a LocalizedMethodFault or of a fault's detail.
absl::Status ReadFault(pugi::xml_node fault, const std::string& message);

}  // namespace homeward::vsphere

#endif  // HOMEWARD_COMMON_VSPHERE_SOAP_H_
