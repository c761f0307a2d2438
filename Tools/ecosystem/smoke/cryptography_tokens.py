"""cryptography (Rust, cffi)."""
from cryptography.exceptions import InvalidSignature
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

box = Fernet(Fernet.generate_key())
assert box.decrypt(box.encrypt(b"text")) == b"text"
key = ec.generate_private_key(ec.SECP256R1())
signature = key.sign(b"text", ec.ECDSA(hashes.SHA256()))
key.public_key().verify(signature, b"text", ec.ECDSA(hashes.SHA256()))
try:
    key.public_key().verify(signature, b"other", ec.ECDSA(hashes.SHA256()))
except InvalidSignature:
    pass
else:
    raise AssertionError("a wrong signature was accepted")
