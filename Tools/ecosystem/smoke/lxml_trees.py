"""lxml (Cython): parsing, XPath with Python functions, XSLT."""
from lxml import etree

root = etree.fromstring("<a>" + "".join(f"<b n='{i}'>{i * i}</b>" for i in range(100)) + "</a>")
assert len(root.xpath("//b[@n > 49]")) == 50
functions = etree.FunctionNamespace("urn:test")
functions.prefix = "t"
functions["twice"] = lambda context, nodes: float(nodes[0].get("n")) * 2
assert root.xpath("t:twice(b[11])") == 20.0
style = etree.XSLT(etree.fromstring(
    '<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">'
    '<xsl:template match="/"><n><xsl:value-of select="count(//b)"/></n></xsl:template></xsl:stylesheet>'))
assert str(style(root)).strip().endswith("<n>100</n>")
assert sum(1 for _ in etree.iterwalk(root)) == 101
